from fastanchor._speedups._tally_pure import Histogram as Histogram

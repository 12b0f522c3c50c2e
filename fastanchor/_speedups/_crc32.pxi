# CRC-32 (IEEE 802.3, as zlib's) eight bytes at a time. Included by what writes and what reads checked lines.

from libc.stdint cimport uint32_t

cdef uint32_t TABLE[8][256]


cdef int fill_table() except -1:
    cdef uint32_t n, word
    cdef int bit, row
    for n in range(256):
        word = n
        for bit in range(8):
            word = (word >> 1) ^ (0xEDB88320 if word & 1 else 0)
        TABLE[0][n] = word
    for row in range(1, 8):
        for n in range(256):
            word = TABLE[row - 1][n]
            TABLE[row][n] = TABLE[0][word & 0xFF] ^ (word >> 8)
    return 0

fill_table()


cdef uint32_t crc32(const unsigned char *data, Py_ssize_t size) noexcept nogil:
    cdef uint32_t crc = 0xFFFFFFFF
    cdef uint32_t *row = TABLE[0]
    cdef Py_ssize_t i = 0
    while size - i >= 8:
        crc ^= data[i] | <uint32_t>data[i + 1] << 8 | <uint32_t>data[i + 2] << 16 | <uint32_t>data[i + 3] << 24
        crc = (
            TABLE[7][crc & 0xFF] ^ TABLE[6][crc >> 8 & 0xFF] ^ TABLE[5][crc >> 16 & 0xFF] ^ TABLE[4][crc >> 24]
            ^ TABLE[3][data[i + 4]] ^ TABLE[2][data[i + 5]] ^ TABLE[1][data[i + 6]] ^ TABLE[0][data[i + 7]]
        )
        i += 8
    while i < size:
        crc = (crc >> 8) ^ row[(crc ^ data[i]) & 255]
        i += 1
    return ~crc

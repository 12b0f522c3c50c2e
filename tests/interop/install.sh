#!/usr/bin/env bash
# Installs the client libraries that only the interop tests need, into a directory of their own (a minute or two):
# two older generations of the official Python libraries, LangChain and LlamaIndex, and the npm packages.
#   tests/interop/install.sh DIRECTORY; FASTANCHOR_INTEROP=DIRECTORY pytest tests/interop
set -euo pipefail
place=${1:?which directory?}
python=${PYTHON:-python3}
mkdir -p "$place"
cd "$place"
packages() { # NAME PACKAGE…: a virtual environment
    "$python" -m venv "$1"
    "$1/bin/pip" install -q --disable-pip-version-check "${@:2}"
}
packages first openai==1.109.1 anthropic==0.75.0 google-genai==1.52.0
packages second openai==2.54.0 anthropic==1.17.0 google-genai==2.34.0
packages chains langchain-openai langchain-anthropic llama-index-llms-openai-like
mkdir -p node
cd node
npm init -y >/dev/null
npm install --no-audit --no-fund --loglevel=error openai @anthropic-ai/sdk ai @ai-sdk/openai @ai-sdk/anthropic zod
touch ../done

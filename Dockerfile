# Translate, transcribe, evaluate and prepare data, without fairseq and without a GPU. We could not build this image
# where the project is made (there is no Docker); tell us if a line is wrong.
#   docker build -t xlsr-st .
#   docker run --rm -v "$PWD:/work" xlsr-st st transcribe a.mp3 --checkpoint model.pt
# To train: --build-arg EXTRAS='[train]'. torch comes from PyPI with its CUDA libraries, also where there is no GPU:
# README.md says why.
FROM python:3.12-slim
ARG EXTRAS=""
WORKDIR /src
COPY setup.py pyproject.toml README.md LICENSE MANIFEST.in ./
COPY configs configs
COPY st st
COPY covost covost
RUN pip install --no-cache-dir ".${EXTRAS}"
RUN useradd --create-home user
USER user
WORKDIR /work
CMD ["st", "--help"]

# The demo study in a container: the command of `make demo`.
#
#   docker build --build-arg TORCH_INDEX=URL -t sharegemini .    for CPUs; URL is PyTorch's package index of CPU builds
#   docker build -t sharegemini .                                for NVIDIA GPUs: the build that pip installs by default
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/out" sharegemini
#   docker run --rm --gpus all ... sharegemini train trainer=gpu data.scale=50k
#
# work/ and runs/ appear in the folder that is mounted as /out.
FROM python:3.11-slim
ARG TORCH_INDEX=""

WORKDIR /opt/sharegemini
COPY constraints.txt ./
# With an extra index, pip prefers 2.13.0+cpu to 2.13.0: a local version counts as newer.
RUN pip install --no-cache-dir --constraint constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"

COPY pyproject.toml setup.py MANIFEST.in README.md LICENSE ./
COPY conf conf
COPY experiments/scaling_webvid/published.csv experiments/scaling_webvid/published.csv
COPY hydra_plugins hydra_plugins
COPY sg sg
RUN pip install --no-cache-dir --constraint constraints.txt .

# The user of `docker run --user` has no home folder and no name in the image.
ENV HOME=/tmp USER=sg WANDB_MODE=offline
WORKDIR /out
ENTRYPOINT ["sg"]
CMD ["train", "-m", "data.scale=50k,100k,200k,400k,530k"]

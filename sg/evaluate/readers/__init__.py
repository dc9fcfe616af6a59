"""One file a benchmark: how its folder becomes videos with questions."""

from sg.evaluate.benchmark import BenchmarkReader
from sg.evaluate.readers.custom import read_custom
from sg.evaluate.readers.longvideobench import read_longvideobench
from sg.evaluate.readers.mlvu import read_mlvu
from sg.evaluate.readers.video_mme import read_video_mme

READERS: dict[str, BenchmarkReader] = {
    "video_mme": read_video_mme,
    "mlvu": read_mlvu,
    "longvideobench": read_longvideobench,
    "custom": read_custom,
}

"""Imports of other packages that this program spares, in processes of their own."""

import subprocess
import sys


def test_the_image_transforms_do_not_load_the_zoo_of_torchvision_which_loads_at_its_first_use() -> None:
    code = (
        "import sys, sg, torchvision.transforms.v2.functional; "
        "assert not any(name.startswith('torchvision.models.') for name in sys.modules); "
        "from torchvision.models import resnet18; from torchvision import ops; "
        "assert resnet18.__module__ == 'torchvision.models.resnet'; assert callable(ops.box_iou)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_of_transformers_does_not_load_the_optimisers_of_scipy() -> None:
    code = "import sys, sg, sg.models.hf.checkpoint; assert 'scipy.optimize' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out DIR`.

On several processes or machines: `accelerate launch [its options] -m training.train RECIPE ...` for GPUs,
`torchrun --nproc_per_node N -m training.train RECIPE ... --device cpu` for CPUs.
"""

import argparse
import json
import logging
import platform
import resource
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from ktb.checkpoints.adapters import save_adapter
from ktb.checkpoints.load import save_model
from ktb.modeling.device import choose_device
from ktb.utils.distributed import rank_of
from ktb.utils.files import write_atomically
from training.data.loader import BatchLoader, Shard
from training.data.open import open_data
from training.data.x_tally import EXAMINED, describe
from training.engine.cpu import strided_depthwise_in_float32
from training.engine.distributed import world
from training.engine.self_teaching import PairBatches, SelfTeachingTrainer
from training.engine.state import PREVIOUS_FILE, STATE_FILE, RunLog
from training.engine.stopping import StopConditions, stopped_by_signals
from training.engine.trainer import BEST_FILE, MODEL_FILE, Trainer
from training.engine.validation import EVAL_COLUMNS, require_metric
from training.losses import class_weights
from training.model import label_counts, make_model
from training.recipes import RECIPES, Recipe, get_recipe, override

logger = logging.getLogger(__name__)

SUMMARY_FILE, COUNTS_FILE = "run.json", "class_counts.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train; a user error becomes one line on stderr and exit status 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(options)
    except ValueError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    """Train with parsed options; ValueError for every user error."""
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = override(get_recipe(options.recipe), options.set)
    if options.dry_run:
        from training.dry_run import report  # imported only when needed

        report(recipe, options)
        return
    if options.new_classes and options.init is None:
        raise ValueError("--new-classes changes what --init FILE loads: give --init, or omit --new-classes.")
    if bool(options.pairs) != bool(recipe.pairs_batch):
        raise ValueError(
            f"{recipe.name} has pairs_batch={recipe.pairs_batch}, pairs without labels in each step, and "
            f"--pairs is {'given' if options.pairs else 'missing'}: give both or none (--set pairs_batch=N)."
        )
    if options.out is None:
        raise ValueError("Give --out, the folder for the log, the state and the model (or --dry-run).")
    if any((options.out / name).exists() for name in (STATE_FILE, PREVIOUS_FILE)) and not options.resume:
        raise ValueError(f"{options.out} already contains a run: add --resume, or choose another --out.")
    require_metric(recipe)
    accelerator = _accelerator(options.device, recipe)
    if not accelerator.is_main_process:
        logging.getLogger().setLevel(logging.WARNING)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)  # the same initial weights in all processes
    dataset, kept, validation = open_data(recipe, options)
    for line in describe(dataset.x_reading(EXAMINED)):
        logger.info("%s", line)
    shard = Shard(accelerator.process_index, accelerator.num_processes, recipe.accumulate)
    loader = BatchLoader(
        dataset, kept, recipe.batch_size, recipe.augmentation, recipe.seed, options.workers, shard
    )
    model = make_model(recipe, dataset, options.init, new_classes=options.new_classes)
    if recipe.precision != "fp32" and accelerator.device.type == "cpu":
        strided_depthwise_in_float32(model)
    weights = _class_weights(recipe, loader, options.out, options.resume)
    export = save_adapter if options.adapters_only else save_model
    if recipe.pairs_batch:
        pairs = PairBatches(model.config.inputs, options.pairs, recipe)
        trainer: Trainer = SelfTeachingTrainer(
            model, recipe, loader, options.out, export, accelerator, weights, pairs=pairs
        )
    else:
        trainer = Trainer(model, recipe, loader, options.out, export, accelerator, weights)
    torch.manual_seed(recipe.seed + trainer.process)  # but a different dropout in each
    if options.resume:
        trainer.resume()
    if validation is not None:
        listener = _tensorboard(options, "validation") if trainer.is_main else None
        validation.log = RunLog(
            options.out / "eval.csv",
            EVAL_COLUMNS,
            trainer.validated,
            active=trainer.is_main,
            listener=listener,
        )
    logger.info(
        "%d trainable values, %d steps, %d process(es) on %s",
        sum(p.numel() for _, p in trainer.named),
        trainer.total_steps,
        trainer.processes,
        trainer.device,
    )
    limits = StopConditions(
        save_every=60 * options.save_minutes,
        wall=60 * options.minutes if options.minutes else None,
        max_steps=options.steps,
        log_every=options.log_every,
    )
    trainer.log_listener = _tensorboard(options, "train") if trainer.is_main else None
    with stopped_by_signals(limits):
        finished = trainer.train(limits, validation)
        if trainer.is_main:
            summary = _summary(trainer, options, finished)
            text = json.dumps(summary, indent=1)
            write_atomically(options.out / SUMMARY_FILE, lambda path: path.write_text(text + "\n"))
            logger.info(
                "%s; model: %s", "Finished" if finished else "Stopped early", options.out / summary["model"]
            )
    accelerator.end_training()


def _accelerator(device: str, recipe: Recipe) -> Accelerator:
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f"--device is '{device}'; choose auto, cpu or cuda (CUDA_VISIBLE_DEVICES selects the GPUs)."
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: PyTorch finds no CUDA device. Use --device cpu.")
    on_cpu = device == "cpu" or not torch.cuda.is_available()  # otherwise accelerate may choose Apple's MPS
    if device == "auto" and rank_of().is_alone:  # a launcher gives every process a GPU of its own
        choice = choose_device("auto", with_mps=False)
        logger.info("device %s", choice)
        on_cpu = choice.device == "cpu"
        if not on_cpu:
            torch.cuda.set_device(torch.device(choice.device).index or 0)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")  # the trainer applies the recipe's precision
    if recipe.precision == "fp16" and accelerator.device.type != "cuda":
        raise ValueError("precision=fp16 needs a CUDA device; use --set precision=bf16 or fp32.")
    return accelerator


def _class_weights(recipe: Recipe, loader: BatchLoader, out: Path, resume: bool) -> torch.Tensor | None:
    """The recipe's class weights; the pixel counts are stored in `out`, so that resuming does not recount."""
    if not recipe.class_weight_power:
        return None
    path = out / COUNTS_FILE
    names = list(loader.dataset.classes)
    counts = json.loads(path.read_text()) if resume and path.is_file() else {}
    if list(counts) != names:
        counts = dict(zip(names, label_counts(loader).tolist(), strict=True))
        if world()[0] == 0:
            text = json.dumps(counts, indent=1)
            write_atomically(path, lambda file: file.write_text(text))
    return class_weights(torch.tensor(list(counts.values())), recipe.class_weight_power)


def _tensorboard(options: argparse.Namespace, name: str) -> Callable[[dict], None] | None:
    """A function that writes a log row for TensorBoard; None without --tensorboard."""
    if not options.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError("--tensorboard needs the package tensorboard: pip install tensorboard.") from error
    writer = SummaryWriter(str(options.out / "tensorboard"))

    def show(row: dict) -> None:
        for key, value in row.items():
            if key not in ("step", "epoch"):
                writer.add_scalar(f"{name}/{key}", value, row["step"])
        writer.flush()

    return show


def _summary(trainer: Trainer, options: argparse.Namespace, finished: bool) -> dict:
    """The content of run.json."""
    cuda = trainer.device.type == "cuda"
    peak = (
        torch.cuda.max_memory_allocated()
        if cuda
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    return {
        "command": shlex.join(["python", "-m", "training.train", *sys.argv[1:]]),
        "finished": finished,
        "step": trainer.step,
        "total_steps": trainer.total_steps,
        "model": BEST_FILE if trainer.best else MODEL_FILE,
        "best": trainer.best,
        "trainable_values": sum(p.numel() for _, p in trainer.named),
        "training_hours": round(trainer.seconds / 3600, 3),
        "peak_memory_gib": round(peak / 2**30, 2),
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} thread(s)",
        "processes": trainer.processes,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "written": time.strftime("%Y-%m-%d %H:%M:%S"),
        "recipe": trainer.recipe.as_dict(),
        "x_reading": trainer.loader.dataset.x_reading(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help=f"one of: {', '.join(RECIPES)}")
    parser.add_argument(
        "--data", type=Path, help="the dataset's folder (optional with a custom dataset's YAML file)"
    )
    parser.add_argument("--out", type=Path, help="folder for the log, the state and the model")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out exactly where it stopped"
    )
    parser.add_argument("--init", type=Path, help="model.safetensors with the initial weights")
    parser.add_argument(
        "--new-classes",
        action="store_true",
        help="with --init: initialise the heads' classifiers, for a model of other classes",
    )
    parser.add_argument(
        "--pairs",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of RGB and thermal pairs without labels, for a recipe with pairs_batch",
    )
    parser.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="change the recipe"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe, sizes, cost and memory, draw one batch, and exit",
    )
    parser.add_argument(
        "--adapters-only",
        action="store_true",
        help="save only trainable weights and a backbone reference; `python -m ktb merge` completes them",
    )
    parser.add_argument(
        "--select-on-test",
        action="store_true",
        help="select the best weights on the TEST split; the card states it",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write a TensorBoard log into OUT/tensorboard"
    )
    parser.add_argument("--minutes", type=float, help="save and stop after this time; --resume continues")
    parser.add_argument("--steps", type=int, help="save and stop after this many steps of the run")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="time between saves (default 5)")
    parser.add_argument(
        "--log-every", type=int, default=10, help="steps between rows of the log (default 10)"
    )
    parser.add_argument("--workers", type=int, default=1, help="threads that prefetch batches (0: none)")
    parser.add_argument("--threads", type=int, help="PyTorch's CPU threads (default: PyTorch's choice)")
    parser.add_argument(
        "--no-cache", action="store_true", help="decode images every time instead of caching them"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    return parser


if __name__ == "__main__":
    main()

"""``python -m mammo_utils phantom``: the phantom's statistics, and what it leaves to be learnt."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--women", type=int, default=200, help="phantom women of the cohort (%(default)s)")
    parser.add_argument("--size", type=int, default=128, help="height of the images in pixels (%(default)s)")
    parser.add_argument(
        "--lesions",
        type=int,
        default=100,
        help="women for the visibility of lesions, 0 for none (%(default)s)",
    )
    parser.add_argument(
        "--unet",
        type=int,
        default=0,
        metavar="IMAGES",
        help="train a U-Net with so many images through it, such as 8192 (default: none)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (%(default)s)")


def main(options: argparse.Namespace) -> None:
    from mammo_utils.study import headroom

    headroom.main(
        women=options.women,
        size=options.size,
        unet=options.unet,
        lesions=options.lesions,
        workers=options.workers,
    )

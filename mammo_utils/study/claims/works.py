"""The published works and their claims; those are in whose tables come with the package."""

from __future__ import annotations

from mammo_utils.study.claims import density, histology, screening
from mammo_utils.study.claims.registry import Claim

TITLES = {
    density.WORK: "dense tissue on small data: Qu and others 2026, medRxiv 10.64898/2026.02.23.26346855",
    screening.WORK: "screening under imbalance: Li, slides on RSNA and INbreast",
    histology.WORK: "histology by multi-level transfer: Wang and others 2024, arXiv 2404.09226",
}
DECLARED = {module.WORK: module.CLAIMS for module in (density, screening, histology)}
WORKS = ("density", "screening", "histology")
CLAIMS: tuple[Claim, ...] = tuple(claim for work in WORKS for claim in DECLARED[work])

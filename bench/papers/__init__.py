"""The five papers' published figures as data, recounted, measured and judged."""

from bench.papers.ledger import Inquiry, Ledger, inquire

__all__ = ["Inquiry", "Ledger", "inquire"]

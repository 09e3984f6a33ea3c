"""Gradients of any torch module with a recurrence in it: observed, examined and judged."""

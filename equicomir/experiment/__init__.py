"""What all experiments share: variants trained over seeds, evaluated on one list, and judged."""

"""How figures are drawn: one palette, panels, heat maps, profiles, courses of trainings, reference lines."""

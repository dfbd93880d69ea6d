"""What looks at pictures: describes them, checks them, embeds them, enlarges them. Each file is one of these."""


class CannotOpen(Exception):
    """A network that lies beside a model cannot be used; the text is a sentence that says why and what to do."""

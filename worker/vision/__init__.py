"""What looks at pictures: describes them, checks them, embeds them, enlarges them. Each file is one of these."""

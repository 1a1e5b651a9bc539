"""Room 5, what to do: findings and a person's YAML in, approved `Decision`s out."""

"""The study of docs/protocol.md: seven models, seven tasks, ten seeds; questions set beforehand."""

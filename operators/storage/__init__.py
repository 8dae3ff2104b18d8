"""Files by path or URL through fsspec: retries, temporary files, secrets kept out of messages.

May import `retalk_models` only; every other folder of `operators` may import it.
"""

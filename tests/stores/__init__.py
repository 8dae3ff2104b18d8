"""Object stores spoken to over their protocols: servers that stand for S3, Google Cloud and Azure."""

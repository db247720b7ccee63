"""Sessions in S3, Amazon's or anybody's who speaks its protocol: the address is `s3://host/bucket/prefix`."""

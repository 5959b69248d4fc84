"""What other readers of Caffe nets take, by layer type, beside what this project takes.

peers.tsv      the readers: version, its date, the files of theirs in which it was read, when
support.tsv    a row a reader and type: how it is taken, and what is to be said of that
types.tsv      how many public nets have each type
nets.tsv       how many public nets to deploy have each set of types
"""

# An upgrade of this repository's own corpus: its new version answered one request in ten 600 ms late.
gzip -dc testdata/corpus/slow-tail.jsonl.gz >evidence.jsonl
gray-upgrade replay evidence.jsonl

# Would it have gone on if answers within two seconds were good enough?
gray-upgrade replay evidence.jsonl --thresholds='{p99-ms: 2000}'

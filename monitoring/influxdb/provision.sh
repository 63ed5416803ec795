#!/bin/bash
# Run once by InfluxDB's image, after it has made the user, the organisation and the bucket: the bucket of the
# five-minute figures, the names under which InfluxQL finds both, and the task that makes the figures.
# `moamesh telemetry setup` does the same to a database that is there already.
set -euo pipefail

means_bucket="$DOCKER_INFLUXDB_INIT_BUCKET/means_5m"

influx bucket create --name "$means_bucket" --org "$DOCKER_INFLUXDB_INIT_ORG" --retention 17520h    # two years
means_bucket_id=$(influx bucket list --name "$means_bucket" --org "$DOCKER_INFLUXDB_INIT_ORG" --hide-headers | cut -f 1)

influx v1 dbrp create --org "$DOCKER_INFLUXDB_INIT_ORG" --bucket-id "$DOCKER_INFLUXDB_INIT_BUCKET_ID" \
    --db "$DOCKER_INFLUXDB_INIT_BUCKET" --rp autogen --default
influx v1 dbrp create --org "$DOCKER_INFLUXDB_INIT_ORG" --bucket-id "$means_bucket_id" \
    --db "$DOCKER_INFLUXDB_INIT_BUCKET" --rp means_5m

influx task create --org "$DOCKER_INFLUXDB_INIT_ORG" --file /moamesh/means.flux

#!/usr/bin/env bash
# Makes grafana.json, the JSON Schema of Grafana's dashboards, from the types that Grafana publishes. Needs node and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=13.2.3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "@grafana/schema@$version" >/dev/null
tar xzf grafana-schema-*.tgz
npm init -y >/dev/null
npm install --silent ts-json-schema-generator@2.10.0 "@grafana/schema@$version"

derive() { # NAME TYPE MODULE
    printf "import type { %s } from '%s';\nexport interface Root { it: %s }\n" "$2" "$3" "$2" > "$1.ts"
    npx ts-json-schema-generator --path "$1.ts" --type Root --no-top-ref --no-type-check --minify -o "$1.schema.json"
}
raw=./package/dist/types/raw
derive dashboard Dashboard $raw/dashboard/x/types.gen
derive panel Panel $raw/dashboard/x/types.gen
derive stat Options $raw/composable/stat/panelcfg/x/types.gen
derive timeseries Options $raw/composable/timeseries/panelcfg/x/types.gen
derive xychart Options $raw/composable/xychart/panelcfg/x/types.gen
derive xychartField FieldConfig $raw/composable/xychart/panelcfg/x/types.gen
derive timeseriesField GraphFieldConfig @grafana/schema
python3 "$here/join.py" "$version" ./*.schema.json > "$here/grafana.json"

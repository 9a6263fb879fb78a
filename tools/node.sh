# Node.js and the packages that test/t/086_node_clients.pl uses. Sourced by test.sh.

# setup_node: sets VECCKPT_NODE_PATH, where node finds them. Debian's nodejs and node-pg are installed if that is possible. A node from
# elsewhere stays as it is; then, and for pgvector, which Debian does not have, npm installs the packages into .local/node.
# Whatever is missing in the end, the test says that it skips.
setup_node() {
  local folder=$LOCAL/node package missing=()
  VECCKPT_NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs:$folder/node_modules
  finds() { NODE_PATH=$VECCKPT_NODE_PATH node -e "require('$1')" >/dev/null 2>&1; }
  if ! finds pg && command -v apt-get >/dev/null; then
    command -v node >/dev/null || as_root apt-get update -q </dev/null || true
    if apt-get install -s --no-install-recommends nodejs node-pg >/dev/null 2>&1; then
      apt_install nodejs node-pg || true
    fi
  fi
  command -v node >/dev/null || return 0
  for package in pg pgvector; do
    finds "$package" || missing+=("$package")
  done
  if ((${#missing[@]})) && command -v npm >/dev/null; then
    mkdir -p "$folder"
    timeout 300 npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts "${missing[@]}" || true
  fi
  # Where the server's user can read them.
  if [[ -d $folder/node_modules ]]; then
    rm -rf "$SERVER_DIR/node"
    mkdir "$SERVER_DIR/node"
    cp -R "$folder/node_modules" "$SERVER_DIR/node/"
    VECCKPT_NODE_PATH=/usr/share/nodejs:/usr/lib/nodejs:$SERVER_DIR/node/node_modules
  fi
}

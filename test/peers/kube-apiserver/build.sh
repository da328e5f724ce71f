#!/usr/bin/env bash
# Builds kube-apiserver and etcd from their sources, for the tests that ask a real cluster: a folder for each version, made once.
# Everything comes through the module proxy of Go, and go.sum says what may come. Takes some minutes, and about a gigabyte of
# room for modules. Prints the folder of the two programs.
#
#   test/peers/kube-apiserver/build.sh
set -euo pipefail
cd "$(dirname "$0")"
version=$(sed -n 's/^\tk8s.io\/kubernetes v//p' go.mod)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/certstandby/kube-apiserver-$version
if [[ -x $folder/kube-apiserver && -x $folder/etcd ]]; then
  printf '%s\n' "$folder"
  exit 0
fi
command -v go >/dev/null || { echo 'go is not there: apt-get install golang-go' >&2; exit 1; }

# A Go that is older than the sources fetches a newer one by itself, from 1.21 on; of an older one the newer one is asked for as the
# module that it is.
go=go
wanted=$(sed -n 's/^go //p' go.mod)
if [[ $(go version) =~ go1\.([0-9]+) ]] && ((BASH_REMATCH[1] < 21)); then
  module=golang.org/toolchain@v0.0.1-go$wanted.$(go env GOOS)-$(go env GOARCH)
  empty=$(mktemp -d)
  (cd "$empty" && go mod download "$module")
  root=$(go env GOMODCACHE)/$module
  chmod -R u+w "$root"
  chmod +x "$root"/bin/* "$root"/pkg/tool/*/*
  rm -rf "$empty"
  go=$root/bin/go
  export GOROOT=$root
fi
export CGO_ENABLED=0 GOTOOLCHAIN=auto

# Complete or not at all: a run that is interrupted leaves no half a program.
fresh=$folder.$$
mkdir -p "$fresh"
trap 'rm -rf "$fresh"' EXIT
build() { "$go" build -mod=readonly -buildvcs=false -trimpath "$@" >&2; }
build -ldflags '-s -w' -o "$fresh/etcd" go.etcd.io/etcd/server/v3
build -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" -o "$fresh/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
# Where another run was faster, its programs are as good.
mv -T "$fresh" "$folder" 2>/dev/null || [[ -x $folder/kube-apiserver ]]
printf '%s\n' "$folder"

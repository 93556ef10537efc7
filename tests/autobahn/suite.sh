#!/usr/bin/env bash
# The Autobahn WebSocket test suite as a client that tries servers.
#   suite.sh OUT CASES NAME URL [NAME URL]...
# CASES as `*` or `1.*,5.*`; compression (12, 13) is left out, which wslink does not offer. The
# reports of the suite are written to OUT. Prints a table of the verdicts, and fails if there is a
# case that is neither passed nor left open by the RFC.
#
# The suite is a program for Python 2.7, which systems no longer have. It is taken from Debian's
# release 11 and unpacked into a cache, where nothing else sees it; the suite itself comes from PyPI.
# Whoever has the suite's `wstest` already names it in WSTEST.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1 cases=$2
shift 2
cache=${AUTOBAHN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wslink-autobahn}
python=$cache/root/usr/bin/python2.7

missing() {
  echo "$1" >&2
  echo "Name a \`wstest\` of autobahntestsuite 0.8.2 in WSTEST instead, if there is one." >&2
  exit 1
}

python27() {
  LD_LIBRARY_PATH=$cache/root/usr/lib/$(uname -m)-linux-gnu:$cache/root/lib/$(uname -m)-linux-gnu \
    PYTHONHOME=$cache/root/usr PYTHONPATH=$cache/site "$python" -W ignore "$@"
}

install_python() {
  for tool in apt-get dpkg python3; do
    command -v $tool >/dev/null || missing "The Autobahn suite is installed with $tool, which is missing."
  done
  python3 -m pip --version >/dev/null 2>&1 || missing "python3 has no pip: apt-get install python3-pip"
  local key=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f $key ] || missing "The keys of Debian are missing: apt-get install debian-archive-keyring"
  local mirror
  mirror=$(sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -v security | head -n 1 || true)
  [ -n "$mirror" ] || missing "This system takes no packages from a mirror of Debian."
  mkdir -p "$cache/lists/partial" "$cache/debs"
  echo "deb [signed-by=$key] $mirror bullseye main" >"$cache/sources.list"
  local apt=(apt-get -qq "-oDir::Etc::sourcelist=$cache/sources.list" -oDir::Etc::sourceparts=/dev/null
    "-oDir::State::Lists=$cache/lists" -oDir::State::status=/dev/null -oAPT::Sandbox::User=)
  "${apt[@]}" update
  (cd "$cache/debs" && "${apt[@]}" download python2.7 python2.7-minimal libpython2.7-stdlib \
    libpython2.7-minimal libssl1.1 libffi7 libreadline8 libdb5.3)
  for package in "$cache"/debs/*.deb; do
    dpkg -x "$package" "$cache/root"
  done
}

# The last versions of everything that still run in Python 2.7.
install_suite() {
  local pip=pip-20.3.4-py2.py3-none-any.whl
  python3 -m pip download --quiet --no-deps --dest "$cache/wheels" pip==20.3.4
  local install=(python27 "$cache/wheels/$pip/pip" --disable-pip-version-check install --quiet --no-deps
    --target "$cache/site")
  {
    "${install[@]}" setuptools==44.1.1
    "${install[@]}" --requirement "$here/requirements.txt"
  } 2>"$cache/pip.log" || { cat "$cache/pip.log" >&2; return 1; }
  touch "$cache/site/zope/__init__.py"
}

if [ -z "${WSTEST:-}" ] && [ ! -f "$cache/done" ]; then
  echo "installing the suite into $cache"
  rm -rf "$cache"
  install_python
  install_suite
  touch "$cache/done"
fi

rm -rf "$out"
mkdir -p "$out"
python3 "$here/report.py" spec "$out" "$cases" "$@" >"$out/spec.json"
run=(python27 -c "import sys; from autobahntestsuite.wstest import run; sys.argv[0] = 'wstest'; run()")
[ -z "${WSTEST:-}" ] || run=("$WSTEST")
if ! "${run[@]}" --mode fuzzingclient --spec "$out/spec.json" >"$out/log" 2>&1; then
  tail -n 40 "$out/log" >&2
  exit 1
fi
python3 "$here/report.py" table "$out"

#!/usr/bin/env bash
# The Debian package from its installation to its purge, in a fresh root: `ops/test-long package [OLD.deb]`. As root, with
# debootstrap. Without OLD the package before is this one under a lower version. Each step is printed with its time.
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { printf '%6s s  %s\n' "$((SECONDS - began))" "$1"; }
fail() { echo "error: $1" >&2; exit 1; }
began=$SECONDS

if [ -z "${CLOISON_PACKAGE_ROOT:-}" ]; then
    new=$(realpath "$(ops/package --fast --output target/after/)")
    old=${1:-$(ops/package --deb-version "$(dpkg-deb -f "$new" Version)~before" --fast --output target/before/)}
    old=$(realpath "$old")
    step "built: $(basename "$old") and $(basename "$new"), $(($(stat -c %s "$new") >> 20)) MiB"
    place=$(mktemp -d)
    trap 'rm -rf --one-file-system "$place"' EXIT
    mkdir -p target
    [ -f target/debian-root.tar ] || {
        debootstrap --variant=minbase --include=libstdc++6 bookworm "$place/root" > "$place/log"
        tar -C "$place/root" -cf target/debian-root.tar .
        rm -rf "$place/root"
    }
    mkdir "$place/root"
    tar -C "$place/root" -xf target/debian-root.tar
    step 'a fresh Debian'
    # The rest on a machine of namespaces: mounts, processes and a loopback of its own.
    CLOISON_PACKAGE_ROOT=$place/root unshare --net --mount --pid --fork --kill-child "$0" "$new" "$old"
    exit
fi

root=$CLOISON_PACKAGE_ROOT new=$1 old=$2
ip link set lo up
mount -t proc proc "$root/proc"
inside() { chroot "$root" "$@"; }
exec_inside() { exec chroot "$root" "$@"; } # in the background: the shell becomes the program, and gets its signals
install_package() { dpkg --root="$root" -i "$1" > "$root/dpkg.log" 2>&1 || { cat "$root/dpkg.log"; fail "$1 does not install"; }; }

install_package "$old"
step "installed $(inside dpkg-query -W cloison | tr '\t' ' '): $(inside cloison --version)"
for user in cloison-vault cloison-authority cloison-identity cloison-witness; do
    inside getent passwd $user > /dev/null || fail "there is no user $user"
done
inside test -s /usr/share/man/man1/cloison-client-tokenize.1.gz || fail 'there is no man page'
inside test -s /usr/share/bash-completion/completions/cloison || fail 'there is no completion'

# Each program gets its row of a deployment, as `init` says; the sector system too.
inside cloison init /root/all --json > "$root/root/made.json"
hand() { # HOLDER FOLDER
    python3 -c 'import json, sys
rows = json.load(open(sys.argv[1]))["holders"]
print("\n".join(f for row in rows if row["holder"] == sys.argv[2] for f in row["files"]))' "$root/root/made.json" "$1" |
        tar -C "$root/root/all" -c --files-from=- | inside tar -C "$2" -x
}
for program in vault:vault authority:node witness:witness; do
    user=cloison-${program%:*}
    hand "${program#*:}" "/etc/$user"
    inside chown -R -h "$user:" "/etc/$user" "/var/lib/$user"
done
mkdir "$root/root/cnss"
hand cnss-health /root/cnss
rm -rf "$root/root/all"
step 'divided a deployment'

# Without systemd: the command of each unit, as its user.
start() { # PROGRAM
    local unit=$root/usr/lib/systemd/system/cloison-$1.service
    # shellcheck disable=SC2046
    exec_inside setpriv --reuid "cloison-$1" --regid "cloison-$1" --clear-groups \
        $(sed -n 's/^ExecStart=//p' "$unit") 2>> "$root/root/$1.log" &
    echo $! > "$root/root/$1.pid"
}
stop() { kill "$(cat "$root/root/$1.pid")"; wait "$(cat "$root/root/$1.pid")" || fail "$1 did not end well"; }
tokenize() {
    inside cloison --quiet client tokenize --sector health --scheme cnie --purpose billing --client /root/cnss/clients/cnss-health.toml
}
for program in witness vault authority; do start $program; done
until first=$(echo AB123456 | tokenize 2> /dev/null); do sleep 0.1; done
step "the first token: $first"

# Upgraded under load: batches go on; what the restart refuses is sent again.
seq -f 'AB%06g' 1000 > "$root/root/cards"
load() {
    local begun longest=0 again=0 batches=0 took
    while [ ! -e "$root/root/end" ]; do
        begun=$(date +%s%3N)
        until tokenize < "$root/root/cards" > "$root/root/answer.$batches" 2> /dev/null; do again=$((again + 1)); sleep 0.05; done
        took=$(($(date +%s%3N) - begun))
        [ $took -le $longest ] || longest=$took
        batches=$((batches + 1))
    done
    echo "$batches batches of 1 000, $again sent again, the slowest took $longest ms" > "$root/root/load"
}
load & loading=$!
sleep 3
install_package "$new"
# What the package's script does where systemd runs: try-restart.
for program in vault authority witness; do stop $program; start $program; done
sleep 3
touch "$root/root/end"
wait $loading
[ "$(cat "$root"/root/answer.* | sort -u | wc -l)" = 1000 ] || fail 'a batch was answered otherwise after the upgrade'
[ "$(echo AB123456 | tokenize)" = "$first" ] || fail 'the first token changed'
step "upgraded to $(inside dpkg-query -W cloison | tr '\t' ' ') under load: $(cat "$root/root/load")"
for program in vault authority witness; do
    if grep -E ' WARN | ERROR |panicked' "$root/root/$program.log" | grep -v 'does not cosign'; then fail "the log of $program"; fi
done

# Removed, purged: the program goes, keys and stores stay.
for program in vault authority witness; do stop $program; done
dpkg --root="$root" --purge cloison > "$root/dpkg.log" 2>&1
grep -q '/etc/cloison-vault is kept' "$root/dpkg.log" || fail 'the purge does not say what it keeps'
[ ! -e "$root/usr/bin/cloison" ] && [ -s "$root/etc/cloison-vault/secrets/vault/identity.secret" ] || fail 'the purge took keys, or left the program'
rm -rf "$root"/etc/cloison-* "$root"/var/lib/cloison-*
step 'purged; keys and stores kept'
install_package "$new"
dpkg --root="$root" --purge cloison > "$root/dpkg.log" 2>&1
for user in cloison-vault cloison-authority cloison-identity cloison-witness; do
    [ ! -e "$root/etc/$user" ] && [ ! -e "$root/var/lib/$user" ] || fail "an unused $user is left"
    if inside getent passwd $user > /dev/null; then fail "the user $user is left"; fi
done
step 'installed and purged unused: nothing is left'

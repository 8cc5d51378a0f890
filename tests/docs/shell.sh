# Stands before a page's blocks (tests/commands/docs.rs). A command that fails ends the shell, and with it the two programs, of which the
# README keeps the process ids in these variables, too.
set -eo pipefail
trap 'set +e; kill $vault $node $witness 2> /dev/null; wait $vault $node $witness' EXIT

announce() { echo "--- $1" >&2; }

# Whether the doors of both programs are open; the README's are the ports that `init` chooses.
doors='7443 7444 7543'
open() { for port in $doors; do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || return 1; done; }

# A pause on a page is for what was started to come up, which on a busy machine takes longer.
sleep() { for _ in $(seq 600); do open && return; command sleep 0.1; done; return 1; }

# Vault and node of the deployment in this folder.
start() {
    cloison serve --config vault.toml 2>> logs/vault.log & vault=$!
    cloison authority serve --config node.toml 2>> logs/node.log & node=$!
    sleep 60
}
restart() { kill $vault $node; wait $vault $node; start; }

# What a sector system does all day.
some_persons() {
    printf 'AB123456\nBE9876\n' |
        cloison client tokenize --sector health --scheme cnie --purpose billing --client clients/cnss-health.toml > pseudonyms.txt
}

# What people do with an editor.
raise_version() { sed -i "s/^version = .*/version = $(($(sed -n 's/^version = //p' "$1") + 1))/" "$1"; }
edit_for_migration() {
    raise_version "$1"
    sed -i -e 's/^max-hours = .*/&\ncontinuity-quorum = 2/' -e 's/^epoch-overlap-days = .*/epoch-overlap-days = 0/' \
        -e "/^id = \"cnss-health\"/,/^operations/s/^operations = .*/operations = [\"tokenize\", \"migrate\", \"retire-epoch\"]\n$(grep ^migration-key migration-key.txt)/" \
        "$1"
}
sign_register() {
    for signer in operations commission; do
        cloison register sign register.toml --as $signer --key secrets/register/$signer.pem
    done
}

#!/bin/bash
# Runs as a unit inside the container of tests/systemd.rs and writes down what it sees, in sections `@@ NAME`; the test
# judges. /test holds this directory, /src a checkout's files, /out is where the report goes.
exec > /out/report 2>&1
cd /src || exit
export NO_COLOR=1 SYSTEMD_COLORS=0 SYSTEMD_PAGER=
etc=/etc/rearguard

section() { echo "@@ $1"; }
show() { systemctl show rearguard --property="$1" --value; }
status_text() { show StatusText; }
# Waits up to ten seconds until a command succeeds.
until_true() { for _ in {1..100}; do if "$@" &> /dev/null; then return; fi; sleep 0.1; done; echo "never true: $*"; }
matches() { [[ $(show "$1") == $2 ]]; }
wait_for() { until_true matches "$1" "$2"; }
since_now() { journalctl --sync; journalctl --show-cursor -n 0 | sed -n 's/^-- cursor: //p'; }
journal() { journalctl --sync; journalctl --no-pager -o cat --after-cursor="$1" "${@:2}"; }
rules() { cp "/test/etc/rules/$1.yaml" $etc/rules/trading.yaml; }

section booted
systemctl --version | head -1
# For the pager's address: names are resolved in the sandbox too.
echo "127.0.0.1 localhost" > /etc/hosts

section app
# The app ends with its standard input: the daemon's own demo, as a unit beside it.
systemd-run --quiet --unit=app sh -c 'tail -f /dev/null | /src/target/release/rearguard demo-app > /run/app.address'
until_true test -s /run/app.address
app=$(sed -n 's/^trading app on //p' /run/app.address)
echo "$app"

section install
# The commands of systemd/README.md, as they stand there.
bash -eu /out/install.sh && echo done
dropins=/etc/systemd/system/rearguard.service.d
install -D -m 644 systemd/rearguard.service.d/credentials.conf.sample $dropins/credentials.conf
install -D -m 600 <(echo "$ROUTING_KEY") $etc/credentials/pagerduty
printf '[Service]\nWatchdogSec=4s\n' > $dropins/test.conf
install -m 755 /test/etc/step /usr/local/bin/step
sed "s|@APP@|$app|; s|@PAGER@|$PAGER|" /test/etc/rearguard.yaml > /out/rearguard.yaml
systemctl daemon-reload
systemd-analyze verify rearguard.service && echo accepted

section first-start-with-bad-files
sed 's/interval: 1s/intervall: 1s/' /out/rearguard.yaml > $etc/rearguard.yaml
rules trading
cursor=$(since_now)
systemctl start rearguard; echo "start says $?"
sleep 3
show ActiveState; show ExecMainStatus; echo "restarts $(show NRestarts)"
journal "$cursor" -u rearguard

section start
cp /out/rearguard.yaml $etc/
systemctl reset-failed rearguard
cursor=$(since_now)
systemctl start rearguard; echo "start says $?"
systemctl is-active rearguard
status_text
test "$(show MainPID)" -gt 0 && echo "runs as $(stat -c %U "/proc/$(show MainPID)")"
echo "core dumps: $(awk '/core file size/ { print $5 }' "/proc/$(show MainPID)/limits")"
stat -c '%n %A %U:%G' /run/rearguard /run/rearguard/control.sock /var/lib/rearguard $etc
systemctl status rearguard | sed -n 's/^ *Status: //p'
journal "$cursor" -u rearguard
journalctl --sync; journalctl -u rearguard --after-cursor="$cursor" -o json | grep '"ready: ' | grep -o '"\(PRIORITY\|SYSLOG_IDENTIFIER\|_TRANSPORT\)":"[^"]*"' | sort

section status
until_true sh -c 'rearguard status | grep -q "OPEN INCIDENTS"'
rearguard status; echo "status says $?"
setpriv --reuid=nobody --regid=nogroup --clear-groups rearguard status > /dev/null; echo "a stranger's status says $?"
setpriv --reuid=nobody --regid=rearguard --clear-groups rearguard status > /dev/null; echo "an operator's status says $?"

section credential
until_true test -s /out/paged
echo "in the environment: $(tr '\0' '\n' < "/proc/$(show MainPID)/environ" | grep -c "$ROUTING_KEY")"
echo "in systemctl show: $(systemctl show rearguard | grep -c "$ROUTING_KEY")"

section reload-rules
pid=$(show MainPID)
rules two-triggers
systemctl reload rearguard; echo "reload says $?"
wait_for StatusText '2 triggers*'
status_text

section reload-rules-unasked
rules trading
wait_for StatusText '1 trigger*'
status_text

section reload-config
sed -i 's/trading-app: {/trading-app: { mode: armed,/' $etc/rearguard.yaml
sleep 1.5
echo "before: $(status_text)"
systemctl reload rearguard; echo "reload says $?"
wait_for StatusText '*1 *armed*'
echo "after: $(status_text)"

section reload-bad-files
cp $etc/rearguard.yaml /out/armed.yaml
echo 'surprise: 1' >> $etc/rearguard.yaml
cursor=$(since_now)
systemctl reload rearguard; echo "reload says $?"
wait_for StatusText '*DEGRADED*'
status_text
systemctl is-active rearguard
journal "$cursor" -u rearguard
cp /out/armed.yaml $etc/rearguard.yaml
systemctl reload rearguard; echo "reload says $?"
wait_for StatusText '*incident?(s)'
status_text
test "$(show MainPID)" = "$pid" && echo "the same process all along"

section stop-during-step
rules rollback
until_true test -e /var/lib/rearguard/step.began
cursor=$(since_now)
(sleep 1; touch /var/lib/rearguard/step.may-end) &
before=$(date +%s%N)
systemctl stop rearguard; echo "stop says $?"
echo "took $((($(date +%s%N) - before) / 1000000)) ms"
cat /var/lib/rearguard/step.ended
show Result
rearguard incident list
journal "$cursor" -u rearguard

section stop
rules trading
rm /var/lib/rearguard/step.*
systemctl start rearguard
sleep 1
cursor=$(since_now)
before=$(date +%s%N)
systemctl stop rearguard; echo "stop says $?"
echo "took $((($(date +%s%N) - before) / 1000000)) ms"
show ActiveState; show Result; show ExecMainStatus
ls /run/rearguard 2>&1
journal "$cursor" -u rearguard

section start-with-bad-files
echo 'nonsense' > $etc/rules/trading.yaml
cursor=$(since_now)
systemctl start rearguard; echo "start says $?"
systemctl is-active rearguard
status_text
journal "$cursor" -u rearguard
rules trading
wait_for StatusText '*incident?(s)'
status_text

section watchdog
rules rollback-again
until_true test -e /var/lib/rearguard/step.began
step=$(cat /var/lib/rearguard/step.began)
pid=$(show MainPID)
cursor=$(since_now)
before=$(date +%s%N)
kill -STOP "$pid"
wait_for NRestarts 1
wait_for ActiveState active
echo "back after $((($(date +%s%N) - before) / 1000000)) ms"
test "$(show MainPID)" != "$pid" && echo "another process"
test -d "/proc/$step" && echo "the step still runs"
grep -q rearguard.service "/proc/$step/cgroup" && echo "in the unit's control group"
rearguard status
touch /var/lib/rearguard/step.may-end
until_true test -e /var/lib/rearguard/step.ended
cat /var/lib/rearguard/step.ended
journal "$cursor" -u rearguard

section over
systemctl stop rearguard; echo "stop says $?"

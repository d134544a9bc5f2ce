use super::facts::{Exposed, Kind, Origin};
use super::*;
use std::collections::BTreeSet;

use crate::engine::model::Labels;
use crate::engine::promql;

fn paces() -> BTreeMap<SourceName, Span> {
    [("app", 5), ("slow", 60)].map(|(name, every)| (SourceName::from(name), Span::from_secs(every))).into()
}

fn context<'a>(
    role: Role,
    paces: &'a BTreeMap<SourceName, Span>,
    facts: Option<&'a Facts>,
) -> LintContext<'a> {
    LintContext { role, paces, facts, absence_is_watched: false }
}

fn parsed(text: &str) -> Expr {
    promql::parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"))
}

/// Returns the lints as `name@"the text they point at"`.
fn told(text: &str, role: Role, facts: Option<&Facts>) -> Vec<String> {
    let paces = paces();
    let lints = expression(&parsed(text), &context(role, &paces, facts));
    lints.iter().map(|lint| format!("{}@{}", lint.name, &text[lint.span.start..lint.span.end])).collect()
}

fn names(text: &str, role: Role, facts: Option<&Facts>) -> Vec<&'static str> {
    let paces = paces();
    expression(&parsed(text), &context(role, &paces, facts)).iter().map(|lint| lint.name).collect()
}

const RATIO: Role = Role::Indicator(Some(Unit::Ratio));
const COUNT: Role = Role::Indicator(Some(Unit::Count));

/// What an expression is there for, the expression, and what is told of which part; `ALL` is the whole of it.
type Case = (Role, &'static str, &'static [&'static str]);

const CASES: &[Case] = &[
    // never-fires
    (Role::Alert, r#"sum(rate(e_total{s="5"}[5m])) / sum(rate(e_total[5m])) > 1"#, &["never-fires@ALL"]),
    (Role::Alert, r#"100 * rate(e_total{s="5"}[5m]) / rate(e_total[5m]) > 150"#, &["never-fires@ALL"]),
    (Role::Alert, "a_total / (a_total + b_total) > 2", &[]),
    (Role::Alert, "rate(a_total[5m]) / (rate(a_total[5m]) + rate(b_total[5m])) >= 1.5", &["never-fires@ALL"]),
    (Role::Alert, r#"rate(d_bucket{le="0.5"}[5m]) / rate(d_count[5m]) > 1"#, &["never-fires@ALL"]),
    (Role::Alert, "count(up == 1) < 1", &["never-fires@ALL"]),
    (Role::Alert, "count(up == 1) == 0 or x > 1", &["never-fires@count(up == 1) == 0"]),
    (Role::Alert, "rate(x_total[5m]) < 0", &["never-fires@ALL"]),
    (Role::Alert, "absent(x) > 1", &["never-fires@ALL"]),
    (Role::Alert, "avg(up) > 1.5 and x > 1", &["never-fires@avg(up) > 1.5"]),
    (Role::Alert, "hour() > 24 and x > 1", &["never-fires@hour() > 24"]),
    (Role::Alert, "vector(1) > 2", &["never-fires@ALL"]),
    (
        Role::Alert,
        r#"histogram_quantile(0.9, sum by (le) (rate(d_bucket{le=~"0.1|1|10|\\+Inf"}[5m]))) > 10"#,
        &["never-fires@ALL"],
    ),
    (COUNT, "up == 0", &["never-fires@ALL"]),
    (COUNT, r#"count(up{exported_job="x"} == 0)"#, &[]),
    // always-fires
    (Role::Alert, "rate(errors_total[5m])", &["always-fires@ALL"]),
    (Role::Alert, "sum(rate(e_total[5m])) / sum(rate(r_total[5m]))", &["always-fires@ALL"]),
    (Role::Alert, "rate(x_total[5m]) > bool 10", &["always-fires@ALL"]),
    (Role::Alert, "rate(x_total[5m]) >= 0", &["always-fires@ALL"]),
    (Role::Alert, "rate(x_total[5m]) >= 0 and y > 5", &[]),
    (Role::Alert, "x:broken", &[]),
    (Role::Alert, "vector(1)", &[]),
    (Role::Record, "rate(errors_total[5m])", &[]),
    // no data
    (Role::Alert, "sum(rate(r_total[5m])) == 0", &["quiet-on-no-data@ALL"]),
    (Role::Alert, "rate(r_total[5m]) < 10", &["quiet-on-no-data@ALL"]),
    (Role::Alert, "queue < 10", &[]),
    (Role::Alert, "(sum(rate(r_total[5m])) or vector(0)) < 1", &["fires-on-no-data@ALL"]),
    (Role::Alert, "(sum(rate(r_total[5m])) or vector(0)) > 1", &[]),
    (COUNT, "absent(x)", &["fires-on-no-data@ALL"]),
    // counters and gauges
    (Role::Record, "rate(room_celsius[5m])", &["rate-over-gauge@ALL"]),
    (Role::Record, "sum(increase(job:x:rate5m[1h]))", &["rate-over-gauge@increase(job:x:rate5m[1h])"]),
    (Role::Record, "increase(a:b_total[1h])", &[]),
    (Role::Record, "delta(x_total[5m])", &["counter-as-gauge@ALL"]),
    (Role::Alert, "errors_total > 100", &["counter-as-gauge@errors_total"]),
    (Role::Alert, "errors_total > 0", &[]),
    (Role::Alert, "errors_total - errors_total offset 5m > 100", &[]),
    (Role::Alert, "errors_total < 1", &[]),
    (Role::Record, "rate(sum(x_total)[5m:30s])", &["rate-of-sum@ALL"]),
    (Role::Record, "max_over_time(sum(x)[5m:30s])", &[]),
    (Role::Record, r#"rate(x_total{job="slow"}[1m])"#, &["short-range@1m"]),
    (Role::Record, "rate(x_total[9s])", &["short-range@9s"]),
    (Role::Record, "rate(x_total[10s])", &[]),
    (Role::Record, "max_over_time(x[5s])", &[]),
    // shares
    (RATIO, "sum(rate(e_total[1m]))", &["ratio-without-denominator@ALL"]),
    (RATIO, "deploy_success_total", &["ratio-without-denominator@ALL"]),
    (RATIO, "avg(up)", &[]),
    // Seconds per second are a share of the time.
    (RATIO, r#"1 - min(avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[1m])))"#, &[]),
    (RATIO, r#"sum(irate(process_cpu_seconds_total[1m]))"#, &[]),
    (RATIO, r#"sum(increase(process_cpu_seconds_total[1m]))"#, &["ratio-without-denominator@ALL"]),
    (RATIO, r#"sum(process_cpu_seconds_total)"#, &["ratio-without-denominator@ALL"]),
    (RATIO, "sum(rate(busy_seconds_total[1m])) + sum(rate(e_total[1m]))", &["ratio-without-denominator@ALL"]),
    (RATIO, "cache_hit_share", &[]),
    (RATIO, "sum(rate(e_total[1m])) / sum(rate(r_total[1m]))", &[]),
    (Role::Alert, r#"rate(r_total{status=~"5.."}[5m]) > 0.1"#, &["ratio-without-denominator@ALL"]),
    (Role::Alert, r#"rate(r_total{status=~"5.."}[5m]) > 3"#, &[]),
    (Role::Alert, "rate(panics_total[5m]) > 0.1", &[]),
    // labels
    (Role::Record, "sum by (foo) (sum by (bar) (x))", &["unknown-label-in-by@ALL"]),
    (Role::Record, r#"sum by (a) (label_replace(sum by (b) (x), "a", "$1", "b", "(.*)"))"#, &[]),
    (Role::Record, "sum(x) / on (job) sum by (job) (y)", &["unknown-label-in-by@ALL"]),
    (Role::Record, "a * on (job) group_left (team) max by (job) (b)", &["unknown-label-in-by@ALL"]),
    (Role::Record, "a * on (job) group_left (team) max by (job, team) (b)", &[]),
    (Role::Record, r#"sum by (v) (count_values by (j) ("v", x))"#, &[]),
    (
        Role::Record,
        "histogram_quantile(0.9, sum by (job) (rate(x_bucket[5m])))",
        &["le-dropped@sum by (job) (rate(x_bucket[5m]))"],
    ),
    (Role::Record, "histogram_quantile(0.9, sum without (job) (rate(x_bucket[5m])))", &[]),
    (Role::Record, "histogram_quantile(0.9, sum(rate(native_seconds[5m])))", &[]),
    (Role::Record, r#"avg(x{quantile="0.99"})"#, &["average-of-quantiles@ALL"]),
    // selectors
    (Role::Record, r#"x{a="1",a="2"}"#, &["selects-nothing@ALL"]),
    (Role::Record, r#"x{a="1",a!~"1|2"}"#, &["selects-nothing@ALL"]),
    (Role::Record, r#"x{a=~"1|2",a!="2"}"#, &[]),
    (Role::Record, r#"x{a=~"one"}"#, &[r#"regex-could-be-equal@a=~"one""#]),
    (Role::Record, r#"count({job=~".+"})"#, &[r#"empty-matcher@{job=~".+"}"#]),
    (Role::Record, r#"kube_x{namespace=~".*"}"#, &[]),
];

#[test]
fn each_lint_points_at_what_it_means() {
    check(CASES, None);
}

fn check(cases: &[Case], facts: Option<&Facts>) {
    let mut wrong = Vec::new();
    for (role, text, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|one| one.replace("ALL", text)).collect();
        let told = told(text, *role, facts);
        if told != expected {
            wrong.push(format!("{role:?} {text}: expected {expected:?}, told {told:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the well-known rule collections (kubernetes-mixin, node-mixin, Prometheus' and Alertmanager's own, etcd, CoreDNS,
/// Thanos, SLO generators) ask for: nothing is doubtful about it.
const TYPICAL_ALERTS: &[&str] = &[
    "vector(1)",
    "up == 0",
    r#"absent(up{job="kubelet"} == 1)"#,
    "100 * (count(up == 0) BY (cluster, job, namespace, service) / count(up) BY (cluster, job, namespace, service)) > 10",
    r#"max_over_time(kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff", job="kube-state-metrics", namespace=~".*"}[5m]) >= 1"#,
    r#"sum by (namespace, pod, cluster) (
         max by(namespace, pod, cluster) (kube_pod_status_phase{job="kube-state-metrics", phase=~"Pending|Unknown"})
         * on(namespace, pod, cluster) group_left(owner_kind)
         topk by(namespace, pod, cluster) (1, max by(namespace, pod, owner_kind, cluster) (kube_pod_owner{owner_kind!="Job"}))
       ) > 0"#,
    r#"kube_deployment_status_observed_generation{job="kube-state-metrics"} != kube_deployment_metadata_generation{job="kube-state-metrics"}"#,
    r#"(kube_deployment_spec_replicas{job="k"} > kube_deployment_status_replicas_available{job="k"})
       and (changes(kube_deployment_status_replicas_updated{job="k"}[10m]) == 0)"#,
    r#"kube_job_failed{job="kube-state-metrics", namespace=~".*"} > 0"#,
    r#"time() - max by (namespace, job_name, cluster) (kube_job_status_start_time{job="k"}
         and kube_job_status_active{job="k"} > 0) > 43200"#,
    r#"sum(namespace_cpu:kube_pod_container_resource_requests:sum{}) by (cluster)
       - (sum(kube_node_status_allocatable{job="k",resource="cpu"}) by (cluster)
          - max(kube_node_status_allocatable{job="k",resource="cpu"}) by (cluster)) > 0"#,
    r#"sum(increase(container_cpu_cfs_throttled_periods_total{container!=""}[5m])) without (id, metrics_path, name, image, endpoint, job, node)
       / sum(increase(container_cpu_cfs_periods_total{}[5m])) without (id, metrics_path, name, image, endpoint, job, node) > (25 / 100)"#,
    r#"(kubelet_volume_stats_available_bytes{job="kubelet"} / kubelet_volume_stats_capacity_bytes{job="kubelet"}) < 0.03
       and kubelet_volume_stats_used_bytes{job="kubelet"} > 0
       unless on(cluster, namespace, persistentvolumeclaim) kube_persistentvolumeclaim_access_mode{ access_mode="ReadOnlyMany"} == 1"#,
    r#"(sum(rate(rest_client_requests_total{job="kube-apiserver",code=~"5.."}[5m])) by (cluster, instance, job, namespace)
       / sum(rate(rest_client_requests_total{job="kube-apiserver"}[5m])) by (cluster, instance, job, namespace)) > 0.01"#,
    r#"sum(apiserver_request:burnrate1h) by (cluster) > (14.40 * 0.01000)
       and on (cluster) sum(apiserver_request:burnrate5m) by (cluster) > (14.40 * 0.01000)"#,
    r#"histogram_quantile(0.01, sum without (namespace, service, endpoint) (rate(apiserver_client_certificate_expiration_seconds_bucket{job="kube-apiserver"}[5m]))) < 604800
       and on(job, cluster, instance) apiserver_client_certificate_expiration_seconds_count{job="kube-apiserver"} > 0"#,
    r#"sum by(cluster) (rate(apiserver_request_terminations_total{job="kube-apiserver"}[10m]))
       / (sum by(cluster) (rate(apiserver_request_total{job="kube-apiserver"}[10m]))
          + sum by(cluster) (rate(apiserver_request_terminations_total{job="kube-apiserver"}[10m]))) > 0.20"#,
    r#"kube_node_status_condition{job="k",condition="Ready",status="true"} == 0 and on (cluster, node) kube_node_spec_unschedulable{job="k"} == 0"#,
    r#"count by (cluster, node) ((kube_pod_status_phase{job="k", phase="Running"} == 1)
         * on (namespace, pod, cluster) group_left (node) topk by (namespace, pod, cluster) (1, kube_pod_info{job="k"}))
       / max by (cluster, node) (kube_node_status_capacity{job="k", resource="pods"} != 1) > 0.95"#,
    r#"histogram_quantile(0.99, sum(rate(kubelet_pod_worker_duration_seconds_bucket{job="kubelet"}[5m])) by (cluster, instance, le))
       * on(cluster, instance) group_left(node) kubelet_node_name{job="kubelet"} > 60"#,
    r#"(node_filesystem_avail_bytes{job="node",fstype!="",mountpoint!=""} / node_filesystem_size_bytes{job="node",fstype!="",mountpoint!=""} * 100 < 15
       and predict_linear(node_filesystem_avail_bytes{job="node",fstype!="",mountpoint!=""}[6h], 4*60*60) < 0
       and node_filesystem_readonly{job="node",fstype!="",mountpoint!=""} == 0)"#,
    "rate(node_network_receive_errs_total{job=\"node\"}[2m]) / rate(node_network_receive_packets_total{job=\"node\"}[2m]) > 0.01",
    "(node_nf_conntrack_entries{job=\"node\"} / node_nf_conntrack_entries_limit) > 0.75",
    "min_over_time(node_timex_sync_status{job=\"node\"}[5m]) == 0 and node_timex_maxerror_seconds{job=\"node\"} >= 16",
    "(node_timex_offset_seconds{job=\"node\"} > 0.05 and deriv(node_timex_offset_seconds{job=\"node\"}[5m]) >= 0)
       or (node_timex_offset_seconds{job=\"node\"} < -0.05 and deriv(node_timex_offset_seconds{job=\"node\"}[5m]) <= 0)",
    "sum without(mode) (avg without (cpu) (rate(node_cpu_seconds_total{job=\"node\", mode!~\"idle|iowait\"}[2m]))) * 100 > 90",
    "100 - (node_memory_MemAvailable_bytes{job=\"node\"} / node_memory_MemTotal_bytes{job=\"node\"} * 100) > 90",
    "node_load1{job=\"node\"} / count without (cpu, mode) (node_cpu_seconds_total{job=\"node\", mode=\"idle\"}) > 2",
    "rate(node_vmstat_pgmajfault{job=\"node\"}[5m]) > 500",
    "node_textfile_scrape_error{job=\"node\"} == 1",
    "max_over_time(prometheus_config_last_reload_successful{job=\"prometheus\"}[5m]) == 0",
    "(predict_linear(prometheus_notifications_queue_length{job=\"prometheus\"}[5m], 60 * 30)
       > min_over_time(prometheus_notifications_queue_capacity{job=\"prometheus\"}[5m]))",
    "(rate(prometheus_notifications_errors_total{job=\"p\"}[5m]) / rate(prometheus_notifications_sent_total{job=\"p\"}[5m])) * 100 > 1",
    "max_over_time(prometheus_notifications_alertmanagers_discovered{job=\"p\"}[5m]) < 1",
    "increase(prometheus_tsdb_compactions_failed_total{job=\"p\"}[3h]) > 0",
    "(sum without(type) (rate(prometheus_tsdb_head_samples_appended_total{job=\"p\"}[5m])) <= 0
       and (sum without(scrape_job) (prometheus_target_metadata_cache_entries{job=\"p\"}) > 0
            or sum without(rule_group) (prometheus_rule_group_rules{job=\"p\"}) > 0))",
    "(max_over_time(prometheus_remote_storage_highest_timestamp_in_seconds{job=\"p\"}[5m])
       - ignoring(remote_name, url) group_right max_over_time(prometheus_remote_storage_queue_highest_sent_timestamp_seconds{job=\"p\"}[5m])) > 120",
    "max_over_time(alertmanager_cluster_members{job=\"a\"}[5m])
       < on (job) group_left count by (job) (max_over_time(alertmanager_cluster_members{job=\"a\"}[5m]))",
    "min by (job, integration) (rate(alertmanager_notifications_failed_total{job=\"a\", integration=~`.*`}[15m])
       / ignoring (reason) group_left rate(alertmanager_notifications_total{job=\"a\", integration=~`.*`}[15m])) > 0.01",
    "count by (job) (count_values by (job) (\"config_hash\", alertmanager_config_hash{job=\"a\"})) != 1",
    "(count by (job) (avg_over_time(up{job=\"a\"}[5m]) < 0.5) / count by (job) (up{job=\"a\"})) >= 0.5",
    "max without (endpoint) (sum without (instance, pod) (up{job=~\".*etcd.*\"} == bool 0)
       or count without (To) (sum without (instance, pod) (rate(etcd_network_peer_sent_failures_total{job=~\".*etcd.*\"}[120s])) > 0.01)) > 0",
    "sum(up{job=~\".*etcd.*\"} == bool 1) without (instance, pod) < ((count(up{job=~\".*etcd.*\"}) without (instance, pod) + 1) / 2)",
    "etcd_server_has_leader{job=~\".*etcd.*\"} == 0",
    "increase((max without (instance, pod) (etcd_server_leader_changes_seen_total{job=~\".*etcd.*\"})
       or 0*absent(etcd_server_leader_changes_seen_total{job=~\".*etcd.*\"}))[15m:1m]) >= 4",
    "histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket{job=~\".*etcd.*\"}[5m])) > 0.5",
    "(last_over_time(etcd_mvcc_db_total_size_in_bytes{job=~\".*etcd.*\"}[5m]) / last_over_time(etcd_server_quota_backend_bytes{job=~\".*etcd.*\"}[5m])) * 100 > 95",
    "histogram_quantile(0.99, sum(rate(coredns_dns_request_duration_seconds_bucket{job=\"dns\"}[5m])) without (instance, pod)) > 4",
    "(time() - (max by (job) (max_over_time(thanos_objstore_bucket_last_successful_upload_time{job=~\".*thanos-compact.*\"}[24h])))) / 60 / 60 > 24",
    "(up{job=~\".*thanos-receive.*\"} - 1) + on (job, instance)
       (sum by (job, instance) (increase(thanos_shipper_uploads_total{job=~\".*thanos-receive.*\"}[3h])) == 0)",
    "slo:sli_error:ratio_rate5m{sloth_id=\"x\"} > (14.4 * 0.001) and ignoring (sloth_window) slo:sli_error:ratio_rate1h{sloth_id=\"x\"} > (14.4 * 0.001)",
    "probe_success{job=\"blackbox\"} == 0",
    "probe_ssl_earliest_cert_expiry - time() < 86400 * 14",
    "(sum(rate(http_requests_total{code=~\"5..\"}[5m])) or vector(0)) / sum(rate(http_requests_total[5m])) > 0.05",
    "sum(rate(http_requests_total{code!~\"5..\"}[5m])) / sum(rate(http_requests_total[5m])) < 0.99",
    "pnl_total < -1000",
];

const TYPICAL_RECORDS: &[&str] = &[
    "sum by (cluster, namespace, pod, container) (rate(container_cpu_usage_seconds_total{job=\"kubelet\", image!=\"\"}[5m]))
       * on (cluster, namespace, pod) group_left(node) topk by (cluster, namespace, pod) (1, max by(cluster, namespace, pod, node) (kube_pod_info{node!=\"\"}))",
    "count without (cpu, mode) (node_cpu_seconds_total{job=\"node\",mode=\"idle\"})",
    "1 - avg without (cpu) (sum without (mode) (rate(node_cpu_seconds_total{job=\"node\", mode=~\"idle|iowait|steal\"}[5m])))",
    "histogram_quantile(0.99, sum by (cluster, le, verb, resource) (rate(apiserver_request_sli_duration_seconds_bucket{job=\"kube-apiserver\"}[5m]))) > 0",
    "1 - ((sum by (cluster) (increase(apiserver_request_sli_duration_seconds_count{verb=\"LIST\"}[30d]))
       - sum by (cluster) (increase(apiserver_request_sli_duration_seconds_bucket{verb=\"LIST\",le=\"30\"}[30d])))
       / sum by (cluster) (increase(apiserver_request_sli_duration_seconds_count{verb=\"LIST\"}[30d])))",
    "max by (cluster, namespace, workload, pod) (label_replace(label_replace(kube_pod_owner{job=\"k\", owner_kind=\"ReplicaSet\"},
       \"replicaset\", \"$1\", \"owner_name\", \"(.*)\") * on (replicaset, namespace, cluster) group_left(owner_name)
       topk by(cluster, replicaset, namespace) (1, max by (cluster, replicaset, namespace, owner_name) (kube_replicaset_owner{job=\"k\", owner_kind=\"\"})),
       \"workload\", \"$1\", \"replicaset\", \"(.*)\"))",
    "quantile_over_time(0.5, job:latency:p99[1h])",
    "sum without(instance) (count_over_time(test[1m]))",
    "count_over_time(up[5m:])",
];

#[test]
fn typical_rules_of_the_world_are_left_alone() {
    let mut wrong = Vec::new();
    for (role, texts) in [(Role::Alert, TYPICAL_ALERTS), (Role::Record, TYPICAL_RECORDS)] {
        for text in texts {
            wrong.extend(told(text, role, None).into_iter().map(|lint| format!("{text}\n    {lint}")));
        }
    }
    assert!(wrong.is_empty(), "{} false alarms:\n{}", wrong.len(), wrong.join("\n"));
    assert!(TYPICAL_ALERTS.len() + TYPICAL_RECORDS.len() > 60);
}

#[test]
fn native_conditions_are_judged_by_what_values_there_can_be() {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, NotEqual};
    let share = r#"sum(rate(r_total{code=~"5.."}[1m])) / sum(rate(r_total[1m]))"#;
    let share_or_none =
        r#"(sum(rate(r_total{code=~"5.."}[1m])) or 0 * sum(rate(r_total[1m]))) / sum(rate(r_total[1m]))"#;
    let share_or_other =
        r#"(sum(rate(r_total{code=~"5.."}[1m])) or 2 * sum(rate(r_total[1m]))) / sum(rate(r_total[1m]))"#;
    let cases: &[(&str, Unit, Comparison, f64, &[&str])] = &[
        (share, Unit::Ratio, Greater, 1.0, &["never-fires"]),
        (share, Unit::Ratio, GreaterOrEqual, 1.0, &[]),
        (share, Unit::Ratio, Greater, 0.02, &[]),
        (share, Unit::Ratio, Less, 0.0, &["never-fires"]),
        (share, Unit::Ratio, GreaterOrEqual, 0.0, &["always-fires"]),
        (share_or_none, Unit::Ratio, Greater, 1.0, &["never-fires"]),
        (share_or_none, Unit::Ratio, Greater, 0.02, &[]),
        (share_or_other, Unit::Ratio, Greater, 1.0, &[]),
        ("sum(rate(r_total[1m]))", Unit::PerSecond, Less, 1.0, &[]),
        ("sum(rate(r_total[1m]))", Unit::PerSecond, GreaterOrEqual, -1.0, &["always-fires"]),
        ("up", Unit::Bool, Equal, 0.0, &["never-fires"]),
        ("min(up)", Unit::Bool, NotEqual, 1.0, &["never-fires"]),
        ("avg_over_time(up[1m])", Unit::Ratio, Less, 0.5, &[]),
        ("probe_success", Unit::Bool, Equal, 0.0, &[]),
        ("probe_success", Unit::Bool, Equal, 2.0, &["never-fires"]),
        ("sum(rate(r_total[1m])) or vector(0)", Unit::PerSecond, Less, 1.0, &["fires-on-no-data"]),
        ("sum(rate(r_total[1m])) or vector(0)", Unit::PerSecond, Greater, 9.0, &["quiet-on-no-data"]),
        ("errors_total", Unit::Count, Greater, 9.0, &["counter-as-gauge"]),
        ("max(temperature_celsius)", Unit::Count, Greater, 9.0, &[]),
    ];
    let paces = paces();
    for (text, unit, comparison, threshold, expected) in cases {
        let compared = Compared { unit: *unit, comparison: *comparison, threshold: *threshold };
        let lints = condition(&parsed(text), compared, &context(Role::Indicator(Some(*unit)), &paces, None));
        let names: Vec<_> = lints.iter().map(|lint| lint.name).collect();
        assert_eq!(names, *expected, "{text} {comparison} {threshold}");
    }
}

/// A platform exposes its success rate as a counter and compares it like a share.
#[test]
fn s4_05_a_counter_that_is_compared_as_a_ratio_is_told() {
    use Comparison::{Greater, GreaterOrEqual, Less, LessOrEqual};
    let exposed = |name, kind| Exposed {
        labels: Labels::from_pairs([("__name__", name)]),
        kind: Some(kind),
        value: 1.0,
    };
    let exposed = [
        exposed("deployment_success_rate", Kind::Counter),
        exposed("deployment_success_ratio", Kind::Gauge),
        exposed("wins_total", Kind::Gauge),
    ];
    let facts = Facts::new(&exposed, Origin::default());
    let paces = paces();
    // What is compared, with a page that tells its type or by its name alone; whether it is told.
    let cases = [
        ("deployment_success_rate", Some(&facts), true),
        ("avg(deployment_success_rate)", Some(&facts), true),
        ("deployment_success_rate", None, false),
        ("deployments_succeeded_total", None, true),
        ("deployment_success_ratio", Some(&facts), false),
        ("wins_total", Some(&facts), false),
        ("increase(deployments_succeeded_total[1h]) / increase(deployments_total[1h])", None, false),
    ];
    for (text, facts, is_told) in cases {
        let expected: &[&str] = if is_told { &["counter-as-gauge"] } else { &[] };
        for comparison in [Less, LessOrEqual, Greater, GreaterOrEqual] {
            let compared = Compared { unit: Unit::Ratio, comparison, threshold: 0.95 };
            let context = context(Role::Indicator(Some(Unit::Ratio)), &paces, facts);
            let lints = condition(&parsed(text), compared, &context);
            let names: Vec<_> = lints.iter().map(|lint| lint.name).collect();
            assert_eq!(names, expected, "{text} {comparison} 95%");
        }
        for alert in [format!("{text} < 0.95"), format!("{text} <= 0.95")] {
            let names: Vec<_> = expression(&parsed(&alert), &context(Role::Alert, &paces, facts))
                .iter()
                .map(|lint| lint.name)
                .filter(|name| *name == "counter-as-gauge")
                .collect();
            assert_eq!(names, expected, "{alert}");
        }
    }
}

fn exposed_by(origin: Origin) -> Facts {
    let mut exposed = Vec::new();
    let mut add = |kind, pairs: &[(&str, &str)]| {
        exposed.push(Exposed { labels: Labels::from_pairs(pairs.iter().copied()), kind, value: 1.0 });
    };
    for (code, method) in [("200", "get"), ("200", "post"), ("404", "get")] {
        add(Some(Kind::Counter), &[("__name__", "r_total"), ("code", code), ("method", method)]);
    }
    for le in ["0.1", "0.5", "2.5", "+Inf"] {
        add(Some(Kind::Bucket), &[("__name__", "d_seconds_bucket"), ("le", le)]);
    }
    add(Some(Kind::Gauge), &[("__name__", "depth"), ("queue", "in")]);
    add(Some(Kind::Gauge), &[("__name__", "pnl_total")]);
    Facts::new(&exposed, origin).with_recorded(["job:r:rate5m".to_owned()])
}

/// The page of the only source.
fn page() -> Facts {
    let added = Some(["zone".to_owned()].into());
    exposed_by(Origin { source: Some(SourceName::from("app")), added, others: false })
}

#[test]
fn a_page_tells_what_cannot_be_there() {
    let cases: &[Case] = &[
        (Role::Record, "r_totl", &["selects-nothing@ALL"]),
        (Role::Record, "job:r:rate5m", &[]),
        (Role::Record, r#"r_total{code="200",job="elsewhere",zone="b"}"#, &[]),
        (Role::Record, r#"r_total{method="pots"}"#, &["selects-nothing@ALL"]),
        (Role::Record, r#"r_total{methd="post"}"#, &["selects-nothing@ALL"]),
        (Role::Record, r#"r_total{methd!="post"}"#, &[]),
        (Role::Record, r#"r_total{code="404",method="post"}"#, &["selects-nothing@ALL"]),
        (Role::Record, "rate(depth[1m])", &["rate-over-gauge@ALL"]),
        (Role::Alert, "pnl_total > 100", &[]),
        (Role::Record, "delta(r_total[1m])", &["counter-as-gauge@ALL"]),
        (Role::Record, "sum by (path) (rate(r_total[1m]))", &["unknown-label-in-by@ALL"]),
        (Role::Record, "sum by (zone, job, code) (rate(r_total[1m]))", &[]),
        (COUNT, "rate(r_total[1m])", &["several-series@ALL"]),
        (COUNT, "sum(rate(r_total[1m]))", &[]),
        (COUNT, r#"rate(r_total{job="app",code="404"}[1m])"#, &[]),
        (Role::Record, "r_total / on (job) depth", &["cannot-evaluate@ALL"]),
        (
            Role::Alert,
            "histogram_quantile(0.9, sum by (le) (rate(d_seconds_bucket[1m]))) > 2.5",
            &["never-fires@ALL"],
        ),
        (Role::Alert, "histogram_quantile(0.9, sum by (le) (rate(d_seconds_bucket[1m]))) > 2", &[]),
    ];
    check(cases, Some(&page()));
}

#[test]
fn what_is_not_known_of_the_sources_is_not_told() {
    let alone = exposed_by(Origin { source: None, added: None, others: false });
    let cases: &[Case] = &[
        (Role::Record, "sum by (namespace) (rate(r_total[1m]))", &[]),
        (Role::Record, r#"r_total{namespace="shop"}"#, &[]),
        (Role::Record, r#"r_total{methd="get"}"#, &["selects-nothing@ALL"]),
        (Role::Record, "node_load1", &["selects-nothing@ALL"]),
        (Role::Record, "probe_success", &[]),
    ];
    check(cases, Some(&alone));
    let one_of_two = exposed_by(Origin { source: None, added: Some(BTreeSet::new()), others: true });
    let cases: &[Case] = &[
        (Role::Record, "sum by (namespace) (rate(r_total[1m]))", &["unknown-label-in-by@ALL"]),
        (Role::Record, "node_load1", &[]),
        (Role::Record, "r_totl", &["selects-nothing@ALL"]),
    ];
    check(cases, Some(&one_of_two));
}

#[test]
fn a_value_that_may_yet_appear_is_only_a_note() {
    let facts = page();
    let paces = paces();
    let level = |text: &str| {
        let lints = expression(&parsed(text), &context(Role::Record, &paces, Some(&facts)));
        lints.first().map(|lint| lint.level)
    };
    assert_eq!(level(r#"r_total{code=~"5.."}"#), Some(Level::Note));
    assert_eq!(level(r#"r_total{code="500"}"#), Some(Level::Note));
    assert_eq!(level(r#"r_total{method="pots"}"#), Some(Level::Warning));
    assert_eq!(names(r#"r_total{code="200"}"#, Role::Record, Some(&facts)), [] as [&str; 0]);
}

#[test]
fn tall_expressions_take_no_longer_than_long_ones() {
    let growth = "rate(a_total[5m])";
    let mut tall = growth.to_owned();
    for _ in 0..30 {
        tall = format!("{growth} / ({growth} + {tall})");
    }
    // Were each level looked at twice, this would not end.
    assert_eq!(names(&format!("{tall} > 2"), Role::Alert, None), [] as [&str; 0]);
    assert_eq!(names(&format!("{tall} < 0"), Role::Alert, None), ["never-fires"]);
}

#[test]
fn every_lint_that_is_told_is_in_the_catalog() {
    let known: Vec<&str> = catalog::LINTS.iter().map(|lint| lint.name).collect();
    let source = [
        include_str!("absence.rs"),
        include_str!("counters.rs"),
        include_str!("files.rs"),
        include_str!("histograms.rs"),
        include_str!("label_sets.rs"),
        include_str!("live.rs"),
        include_str!("outcome.rs"),
        include_str!("ratios.rs"),
        include_str!("selectors.rs"),
    ]
    .concat();
    let mut found = 0;
    for call in ["::warning(", "::note("] {
        for part in source.split(call).skip(1) {
            let Some(name) = part.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            assert!(known.contains(&name), "{name} is not explained");
            found += 1;
        }
    }
    assert!(found > 20, "{found} lints are told");
}

proptest::proptest! {
    #[test]
    fn whatever_parses_can_be_linted(text in r#"(sum|rate|count|absent)?\(?[a-z]{1,3}(\{[a-z]=~?"[a-z.*]{0,3}"\})?(\[[1-9]m\])?\)?( (>|/|or|and) [0-9a-z]{1,3})?"#) {
        if let Ok(expr) = promql::parse(&text) {
            let (paces, facts) = (paces(), page());
            for role in [Role::Alert, Role::Record, RATIO] {
                for lint in expression(&expr, &context(role, &paces, Some(&facts))) {
                    proptest::prop_assert!(lint.span.end <= text.len());
                }
            }
        }
    }
}

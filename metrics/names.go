package metrics

import "github.com/prometheus/client_golang/prometheus"

// The figures by name. Names are a contract with rules and dashboards: one that is
// released stays.
var (
	described []*prometheus.Desc
	counters  = map[*prometheus.Desc]bool{}

	buildInfo         = gauge("build_info", "1, with the version of the program.", "version", "goversion")
	isReady           = gauge("ready", "1 while this process should get requests.")
	databaseUp        = gauge("database_up", "1 while the database answers; without it the figures of the record are absent.")
	certificateExpiry = gauge("tls_certificate_expiry_timestamp_seconds", "When the TLS certificate ends; 0 without one.")
	authorityExpiry   = gauge("authority_certificate_expiry_timestamp_seconds", "When the certificate of a system's authority for TLS ends.", "system")
	pointAge          = gauge("decision_point_age_seconds", "Age of what this replica's decision point relies on.")
	pointBound        = gauge("decision_point_bound_seconds", "Age beyond which this replica's decision point refuses everything.")
	clockOffset       = gauge("clock_offset_seconds", "How far this replica's clock is ahead of the database's; 0 on SQLite.")
	beatAt            = gauge("engine_beat_timestamp_seconds", "When the engine of this replica last did all that a beat does.")
	stepFailures      = counter("engine_step_failures_total", "Steps of the engine that failed, by step.", "step")
	operations        = counter("operations_total", "Operations of connectors, by what became of them: done, or the kind of the failure.", "connector", "operation", "result")
	workDue           = gauge("work_due", "Work that is due and not taken, by kind; counted up to 10000 of each.", "kind")
	workDueAge        = gauge("work_due_age_seconds", "For how long the oldest of it has been due; 0 for none.", "kind")
	workParked        = gauge("work_parked", "Work that waits for a person, by kind; counted up to 10000 in all.", "kind")
	workParkedAge     = gauge("work_parked_age_seconds", "For how long the oldest of it has been parked; 0 for none.", "kind")
	grantsEnding      = gauge("grants_ending", "Grants whose end has begun and was not yet read back from the target; counted up to 10000.")
	oldestEnd         = gauge("oldest_unrevoked_end_seconds", "For how long the oldest of them has been ending; 0 for none.")
	overdue           = gauge("requests_overdue", "Requests that owe evidence or a review whose time has passed; counted up to 10000.")
	oldestNotice      = gauge("oldest_undelivered_notice_seconds", "Age of what a channel has refused most often; 0 for none.")
	oldestComment     = gauge("oldest_unwritten_ticket_seconds", "Age of what a ticket system has not taken most often; 0 for none.")
	findingsOpen      = gauge("findings_open", "Differences between targets and the record that are open; counted up to 10000.")
	oldestFinding     = gauge("oldest_finding_seconds", "For how long the oldest of them has been open; 0 for none.")
	owners            = gauge("owners", "Machines and systems by how it stands with who answers for them: confirmed, due, overdue, silent (nothing new is given), lost.", "state")
	systems           = gauge("systems", "Systems that are not retired, by how sure the record can be of them: current, late, never (read), manual.", "state")
	powerHolders      = gauge("power_holders", "Active people who hold a power of the desk.", "power")
	powerFirstEnd     = gauge("power_first_end_timestamp_seconds", "When the first of them loses it; absent where none does.", "power")
	streamsAhead      = counter("stream_time_ahead_total", "Commits of this process to a stream whose last event has a later time.")
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	description := prometheus.NewDesc("countersign_"+name, help, labels, nil)
	described = append(described, description)
	return description
}

func counter(name, help string, labels ...string) *prometheus.Desc {
	description := gauge(name, help, labels...)
	counters[description] = true
	return description
}

package dashboards

// All returns the dashboards by the names of their files.
func All() map[string]Dashboard {
	return map[string]Dashboard{
		"overview.json":  overview(),
		"money.json":     money(),
		"routing.json":   routing(),
		"requests.json":  requests(),
		"streaming.json": streaming(),
		"health.json":    health(),
		"sessions.json":  sessions(),
	}
}

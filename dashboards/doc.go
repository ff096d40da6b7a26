// Package dashboards makes the Grafana dashboards: the queries and panels are written here, and `go generate` turns them into
// the JSON files of this folder, in the classic form (schemaVersion 42) that Grafana 9 to 13 load from files.
//
//	overview money routing requests streaming health sessions   one file and one function each
//	grafana.go                                                   Grafana's JSON
//	panel.go query.go                                            panels and queries as they are written here
//
// Tests hold each query against the names the gateway declares, and each dashboard against what makes one readable.
package dashboards

//go:generate go run ./generate

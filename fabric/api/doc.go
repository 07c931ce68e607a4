// Package api is the REST API of the cluster in the LXD 1.0 dialect: its server, and its Go client.
package api

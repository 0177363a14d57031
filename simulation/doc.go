// Package simulation runs whole clusters of the production engine in one goroutine, from one seed.
package simulation

// Package rsm holds the contracts of user state machines and applies committed batches to them.
package rsm

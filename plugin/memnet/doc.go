// Package memnet is a network inside one process, behind the transport contract.
package memnet

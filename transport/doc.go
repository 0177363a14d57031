// Package transport holds the contract for moving messages between hosts and its TCP implementation.
package transport

// Package tcp moves messages between hosts over TCP.
package tcp

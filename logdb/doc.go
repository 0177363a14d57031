// Package logdb holds the contract for log stores, the Pebble LogDB and the host-wide log cache.
package logdb

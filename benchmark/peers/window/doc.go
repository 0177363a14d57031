// Package window waits for the futures of engines that have no callbacks, in order, on one goroutine for many requests.
package window

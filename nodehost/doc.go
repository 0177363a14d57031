// Package nodehost is the public API.
package nodehost

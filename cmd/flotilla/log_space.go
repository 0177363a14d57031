package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/nodehost"
)

// printSpace says where the store's bytes are. The store was opened without a change on disk, so it shows what a start would make of the files, which
// begins a new segment with what the newest one holds: each is told apart from what is there.
func printSpace(out io.Writer, host *nodehost.OfflineHost) error {
	files, err := host.LogFiles()
	if err != nil {
		return err
	}
	onDisk := int64(0)
	there := map[string]bool{}
	for _, file := range files {
		onDisk += file.Bytes
		there[filepath.Base(file.Path)], there[file.Path] = true, true
	}
	reporter, ok := host.LogDB.(logdb.SpaceReporter)
	if !ok {
		fmt.Fprintf(out, "  %d bytes on disk, %d files\n", onDisk, len(files))
		return nil
	}
	space, err := reporter.Space()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d bytes on disk, %d of them live (%.0f %%), %d segments\n", onDisk, space.LiveBytes, percent(space.LiveBytes, onDisk), len(space.Segments))
	listed := map[string]bool{}
	for _, s := range space.Segments {
		listed[s.Name] = true
		note := ""
		if !there[s.Name] {
			note = "; not on disk: what a start makes of the newest one"
		}
		fmt.Fprintf(out, "  %s\t%d bytes, %.0f %% live%s\n", s.Name, s.Bytes, percent(s.LiveBytes, s.Bytes), note)
	}
	for _, file := range files {
		name := filepath.Base(file.Path)
		if filepath.Ext(name) == ".seg" && !listed[name] && !listed[file.Path] {
			fmt.Fprintf(out, "  %s\t%d bytes; a start copies what is live in it, and lets go of it\n", name, file.Bytes)
		}
	}
	return nil
}

func percent(part, of int64) float64 { return 100 * float64(part) / float64(max(1, of)) }

// Package comparison knows what is compared with what, and tells what came of it.
//
// Rows is the table: each Row is a question (what happens with 1,024 shards?), each of its Cases a load, each Subject of a case an
// engine in one configuration. A case's subjects take turns, each turn in a process of its own, so that memory, garbage and the
// garbage collector's pace are those of one engine: Run makes the turns, and the Report holds every one of them. A Target holds a median
// of Flotilla against another subject's, against another case or a number.
//
// A report is written as JSON, which keeps everything; as a Markdown table; and as a page of HTML with charts that needs nothing but
// itself. Each says on which machine, from which commit and by which command it was made.
package comparison

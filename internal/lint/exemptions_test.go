package lint

// Exemptions: a file and the reason why a rule does not hold in it. One that is not needed any more fails its test.

// determinismExemptions are the files named for the goroutine, clock or random source that they hold.
var determinismExemptions = map[string]string{}

// panicExemptions are files that panic by design.
var panicExemptions = map[string]string{}

// printExemptions are files that write to the process's streams by design.
var printExemptions = map[string]string{}

// noExemptions is for rules that hold everywhere.
var noExemptions map[string]string

// sizes is what is longer today than the limits allow.
var sizes = ratchet{}

package nodehost_test

const killChild = "flotilla-kill-child"

func runKillChild([]string) {}

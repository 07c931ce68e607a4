package cluster

import "C" // has raft.c compiled and linked in

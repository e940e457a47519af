package disk

// directFlag is 0 where there are no direct writes.
const directFlag = 0

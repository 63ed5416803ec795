/** How many devices the graph shows: more colours cannot be told apart, and the table has every device. */
export const LINES_MAX = 8;

// Stands in for packages that a page never calls.
module.exports = {};

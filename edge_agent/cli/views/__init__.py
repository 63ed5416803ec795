"""What commands show: functions from data to rich renderables. Nothing here prints or waits."""
